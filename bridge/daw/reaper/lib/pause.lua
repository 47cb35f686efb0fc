-- Segue: placed by `segue install`, which replaces it: changes are lost.
-- Long work in turns: it runs as a coroutine, and after some of it REAPER goes on. Outside of a
-- coroutine it is done in one turn.

local pause = {}

local READINGS_A_TURN = 128
local READINGS_A_MESSAGE = 8 -- that take as long
local done = 0

local function after(readings)
  if not coroutine.isyieldable() then return end
  done = done + readings
  if done < READINGS_A_TURN then return end
  done = 0
  coroutine.yield()
end

--- To be called for each message of up to 64 rows, or its line.
function pause.message()
  after(READINGS_A_MESSAGE)
end

--- To be called for each thing of the project that is read: a note, a marker, an item.
function pause.reading()
  after(1)
end

return pause
