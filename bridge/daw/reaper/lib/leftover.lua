-- Segue: placed by `segue install`, which replaces it: changes are lost.
-- A job whose REAPER ended before it did: its clip is kept, and the next REAPER says where.

local use = ...
local spool, job = use("spool"), use("job")

local leftover = {}

local LAST, HERE = "Segue last job", "Segue jobs here" -- the first outlives REAPER

function leftover.begin(id)
  reaper.SetExtState(LAST, "id", id, true)
  reaper.SetExtState(HERE, id, "yes", false)
end

function leftover.finish(id)
  if reaper.GetExtState(LAST, "id") == id then reaper.SetExtState(LAST, "id", "", true) end
end

--- What to say about the last job of an earlier REAPER, once; nil where there is nothing.
function leftover.notice()
  local id = reaper.GetExtState(LAST, "id")
  if id == "" or reaper.GetExtState(HERE, id) ~= "" then return nil end
  local left, its = spool.of(id), job.new(id)
  for _, message in ipairs(left:answers()) do its:hear(message) end
  if not its:ended() then return nil end
  leftover.finish(id)
  left:close()
  return its.clips and "REAPER ended before its clip was placed; the clip is kept: " .. its:paths()
end

return leftover
