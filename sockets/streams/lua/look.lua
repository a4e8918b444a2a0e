-- The head of a user's stream, and entries after a position, for whoever only asks. It writes
-- nothing: a record that is not there stays so, with the epoch "". Put after record.lua and
-- page.lua.
--
-- ARGV  11 epoch of the position, or ""   12 its offset
--       13 how many entries at most   14 how many bytes at most, after the first entry
-- Returns  epoch, head, floor, how many entries are after the position,
--          how the message at the head begins ("": not known, or no entries were asked for),
--          entry, offset, entry, offset …
load()
return page(ARGV[11], ARGV[12], tonumber(ARGV[13]), tonumber(ARGV[14]))
