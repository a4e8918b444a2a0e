end)
if ok then return answer end
-- Servers before version 7 put the place in front: "@user_script: 5: -READONLY You can't …".
local why = type(answer) == 'table' and answer.err or tostring(answer)
why = string.match(why, '^@.-: %-(%u+ .+)$') or why
if not string.match(why, '^%u+ ') then why = 'ERR ' .. why end
return { err = wrote and ('PARTLY ' .. why) or why }
