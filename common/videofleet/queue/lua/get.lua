-- Records as they stand at one moment. ARGV: id, … → {`tell` of each, …}
local told = {}
for n, id in ipairs(ARGV) do told[n] = tell(id) end
return told
