-- Segue: placed by `segue install`, which replaces it: changes are lost.
-- Jobs whose REAPER ended before they did: their clips are kept, and the next REAPER says where.
-- Each job has a file, and its script keeps the time in it. When that stays behind, the script is
-- gone; another REAPER with the same settings may be running, and its jobs are its own.

local use = ...
local spool, job, data = use("spool"), use("job"), use("data")

local leftover = {}

local ENDING = ".job"
local EVERY, GONE, DAY = 2, 20, 24 * 3600 -- seconds
local MAX_BYTES = 1 << 16 -- of such a file
local LOST = "REAPER ended before its clip was placed; the clip is kept: "

local written = {} -- when, by id

local function path_of(id)
  return data.folder() .. "/" .. id .. ENDING
end

local function write(id, text)
  local file = io.open(path_of(id), "wb")
  if not file then return end
  file:write(text)
  file:close()
end

local function read(id)
  local file = io.open(path_of(id), "rb")
  local text = file and file:read(MAX_BYTES) or ""
  if file then file:close() end
  return text
end

--- To be called at every turn, as long as the job's script runs.
function leftover.keep(id)
  local now = os.time()
  if written[id] and now - written[id] < EVERY then return end
  written[id] = now
  write(id, ("%d"):format(now))
end

function leftover.finish(id)
  os.remove(path_of(id))
end

--- Its script ends and leaves these clips.
function leftover.leave(id, paths)
  write(id, paths)
end

--- What the job of such a file has left: paths, "" for nothing; nil where it is not over.
local function left_by(id)
  local text = read(id)
  local time = tonumber(text)
  if not time then return text ~= "" and text or nil end -- or it is just being written
  local age = os.time() - time
  if age < GONE then return nil end
  local left, its = spool.of(id), job.new(id)
  for _, message in ipairs(left:answers()) do its:hear(message) end
  if not its:ended() and age < DAY then return nil end
  left:close()
  return its.clips and its:paths() or ""
end

--- What to say, once, about the jobs of scripts that are gone; nil where there is nothing.
function leftover.notice()
  local kept = {}
  for _, name in ipairs(data.names()) do
    local id = name:match("^(reaper%-.*)%" .. ENDING .. "$")
    local paths = id and left_by(id)
    if paths then leftover.finish(id) end
    if paths and paths ~= "" then kept[#kept + 1] = paths end
  end
  return #kept > 0 and LOST .. table.concat(kept, ", ") or nil
end

return leftover
