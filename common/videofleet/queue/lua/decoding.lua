-- Clips that a decoder is to make, of one revision; what is leased comes back when the lease ends.
-- decodes  id → when a decoder may take it, in ms
-- decode   its record: order, token of the decoder that has it, tries, answer; forgotten when its owner falls silent
local OWNER_MS, DECODER_MS = 60000, 15000

local function decodes(revision) return P .. ':decodes:' .. revision end

local function order_key(id) return P .. ':decode:' .. id end

local function decoder_is_there(revision) redis.call('SET', P .. ':decoders:' .. revision, 1, 'PX', DECODER_MS) end
