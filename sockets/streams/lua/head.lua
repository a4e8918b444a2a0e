-- The position of the newest message, for somebody who comes back with it. A record that is made for
-- this lasts ten minutes, unless a socket or a message uses it. Behind record.lua.
--
-- Returns  epoch, head, how the message there begins, or ""
open()
keep_asked()
return { record.epoch, record.offset, mark() }
