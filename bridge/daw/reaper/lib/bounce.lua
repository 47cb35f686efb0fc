-- Segue: placed by `segue install`, which replaces it: changes are lost.
-- A stretch of a track as REAPER plays it before the track's effects, written as a float WAV,
-- a little at every turn so that REAPER never waits.

local use = ...
local region = use("region")

local bounce = {}
bounce.__index = bounce

local CHANNELS = 2
local MAX_FRAMES = 4096 -- of one reading
local MAX_READINGS = 16 -- of one turn
local TURN_SECONDS = 0.012
local AT_ONCE = 128 -- values of one string.pack: a Lua function takes about 250 arguments
local FORMAT = "<" .. ("f"):rep(AT_ONCE)
local FULL = "the disk takes no more"

local function header(frames, rate)
  local bytes = frames * CHANNELS * 4
  return "RIFF" .. string.pack("<I4", 4 + 24 + 12 + 8 + bytes) .. "WAVE"
    .. "fmt " .. string.pack("<I4 I2 I2 I4 I4 I2 I2", 16, 3, CHANNELS, rate, rate * CHANNELS * 4,
      CHANNELS * 4, 32)
    .. "fact" .. string.pack("<I4 I4", 4, frames)
    .. "data" .. string.pack("<I4", bytes)
end

local function packed(values)
  local parts = {}
  for first = 1, #values, AT_ONCE do
    local last = math.min(first + AT_ONCE - 1, #values)
    local format = last - first + 1 == AT_ONCE and FORMAT or "<" .. ("f"):rep(last - first + 1)
    parts[#parts + 1] = string.pack(format, table.unpack(values, first, last))
  end
  return table.concat(parts)
end

--- Begin; nil and what to do where the file cannot be written.
function bounce.new(proj, found, path)
  local rate = region.rate(proj)
  local start = region.snap(found.start, rate)
  local frames = math.floor((found.finish - start) * rate + 0.5)
  local file = io.open(path, "wb")
  if not file then return nil, "cannot write " .. path .. ": see to its folder" end
  local self = setmetatable({
    file = file, path = path, rate = rate, start = start, frames = frames, read = 0,
    buffer = reaper.new_array(MAX_FRAMES * CHANNELS),
    accessor = reaper.CreateTrackAudioAccessor(found.track),
  }, bounce)
  if not file:write(header(frames, rate)) then return nil, self:stop(FULL) end
  return self
end

--- Give everything back, and remove a file that is not whole. Returns `problem`.
function bounce:stop(problem)
  if self.accessor then reaper.DestroyAudioAccessor(self.accessor) end
  if self.file then self.file:close() end
  if self.read < self.frames then os.remove(self.path) end
  self.accessor, self.file = nil, nil
  return problem
end

local function read_some(self)
  local count = math.min(MAX_FRAMES, self.frames - self.read)
  self.buffer.clear()
  local at = self.start + self.read / self.rate
  local heard = reaper.GetAudioAccessorSamples(
    self.accessor, self.rate, CHANNELS, at, count, self.buffer)
  if heard < 0 then return nil, "REAPER cannot read the track's audio" end
  if not self.file:write(packed(self.buffer.table(1, count * CHANNELS))) then
    return nil, FULL
  end
  self.read = self.read + count
  return true
end

--- Read on for one turn: the audio once it is all there, false before, nil and a problem.
function bounce:step()
  local begun = reaper.time_precise()
  for _ = 1, MAX_READINGS do
    if self.read == self.frames then break end
    local read, problem = read_some(self)
    if not read then return nil, self:stop(problem) end
    if reaper.time_precise() - begun > TURN_SECONDS then break end
  end
  if self.read < self.frames then return false end
  if not self.file:flush() then
    self.read = 0 -- it is not whole
    return nil, self:stop(FULL)
  end
  self:stop()
  return { path = self.path, start_seconds = 0, length = self.frames / self.rate,
    start = self.start, rate = self.rate, written = true }
end

return bounce
