-- The head of a user's stream, and entries after a position, for whoever only asks. It writes
-- nothing: a record that is not there stays so, with the epoch "". Behind record.lua and
-- page.lua.
--
-- ARGV  10 epoch of the position, or ""   11 its offset
--       12 how many entries at most   13 how many bytes at most, behind the first entry
-- Returns  epoch, head, floor, how many entries are after the position,
--          how the message at the head begins ("": not known, or no entries were asked for),
--          entry, offset, entry, offset …
load()
return page(ARGV[10], ARGV[11], tonumber(ARGV[12]), tonumber(ARGV[13]))
