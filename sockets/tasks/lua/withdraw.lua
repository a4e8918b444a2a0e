-- ARGV  9 task   10 offer
if get(ARGV[9], 'offer') ~= ARGV[10] then return false end
take_back(ARGV[9])
return task(ARGV[9])
