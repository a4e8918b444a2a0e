-- ARGV  8 task   9 offer
if get(ARGV[8], 'offer') ~= ARGV[9] then return false end
take_back(ARGV[8])
return task(ARGV[8])
