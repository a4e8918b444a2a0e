-- Behind registry.lua.
--
-- Returns  seconds of warm-up left
return text(warm_left())
