-- ARGV  8 task   9 state   10 "=" and the worker, or ""   11 result, as JSON   12 error   13 id of this call
-- Returns  how many ends were forgotten that nobody has announced, task; or nothing
local id = ARGV[8]
local found = redis.call('HMGET', task_key(id), 'state', 'worker', 'call')
if not found[1] then return false end
if found[3] == ARGV[13] then -- said again
  if redis.call('ZSCORE', DEADLINES, id) then complete(id) end -- and was only half done
  return { 0, task(id) }
end
if not is_live(found[1]) then return false end
if ARGV[10] ~= '' and (found[1] ~= 'running' or '=' .. found[2] ~= ARGV[10]) then return false end
local ended, dropped = finish(id, ARGV[9], ARGV[11], ARGV[12], ARGV[13])
return { dropped, ended }
