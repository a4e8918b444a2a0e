-- ARGV  9 task   10 state   11 "=" and the worker, or ""   12 result, as JSON   13 error   14 id of this call
-- Returns  how many ends were forgotten that nobody has announced, task; or nothing
local id = ARGV[9]
local found = redis.call('HMGET', task_key(id), 'state', 'worker', 'call')
if not found[1] then return false end
if found[3] == ARGV[14] then -- repeated
  if redis.call('ZSCORE', DEADLINES, id) then complete(id) end -- and was only half done
  return { 0, task(id) }
end
if not is_live(found[1]) then return false end
if ARGV[11] ~= '' and (found[1] ~= 'running' or '=' .. found[2] ~= ARGV[11]) then return false end
local ended, dropped = finish(id, ARGV[10], ARGV[12], ARGV[13], ARGV[14])
return { dropped, ended }
