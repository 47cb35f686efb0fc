-- Segue: placed by `segue install`, which replaces it: changes are lost.
-- Long work in turns: it runs as a coroutine, and after some pieces REAPER goes on.

local PIECES_A_TURN = 16 -- messages of up to 64 rows, or their lines
local pieces = 0

--- To be called after each piece; outside of a coroutine nothing happens.
return function()
  if not coroutine.isyieldable() then return end
  pieces = pieces + 1
  if pieces % PIECES_A_TURN == 0 then coroutine.yield() end
end
