-- How long a warm-up still lasts. Runs after registry.lua.
--
-- Returns  seconds of warm-up left
return text(warm_left())
