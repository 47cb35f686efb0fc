-- Segue: placed by `segue install`, which replaces it: changes are lost.
-- What must hold for Segue to work in this REAPER, tried one by one and told in the console.
-- Nothing in the project is changed.

local use = ...
local api, region, tempo = use("api"), use("region"), use("tempo")
local line, spool, wire = use("line"), use("spool"), use("wire")

local self_test = {}
self_test.__index = self_test

local ANSWER_SECONDS = 8
local SAMPLES = 64

local function missing_names()
  local missing = {}
  for _, name in ipairs(api) do
    if not reaper[name] then missing[#missing + 1] = name end
  end
  return #missing == 0, "this REAPER lacks " .. table.concat(missing, ", ") .. ": update it"
end

local function folder_takes_files(proj)
  local folder = reaper.GetProjectPathEx(proj) .. "/Segue"
  reaper.RecursiveCreateDirectory(folder, 0)
  local path = folder .. "/self-test.tmp"
  local file = io.open(path, "wb")
  if not file then return false, "cannot write into " .. folder end
  file:close()
  return os.remove(path)
end

local function audio_is_read(proj)
  local track = reaper.GetTrack(proj, 0)
  if not track then return true end
  local accessor = reaper.CreateTrackAudioAccessor(track)
  local buffer = reaper.new_array(SAMPLES)
  local heard = reaper.GetAudioAccessorSamples(accessor, region.rate(proj), 1, 0, SAMPLES, buffer)
  reaper.DestroyAudioAccessor(accessor)
  return heard >= 0, "the first track's audio cannot be read"
end

local AT_ONCE = {
  { "REAPER has every function that is used", missing_names },
  { "the project's sample rate", function(proj) return region.rate(proj) > 0 end },
  { "the project's folder takes files", folder_takes_files },
  { "a track's audio can be read", audio_is_read },
  { "the tempo map", function(proj) return tempo.rows(proj, 0, 1).values[2] > 0 end },
}

local function tell(self, name, passed, problem)
  if not passed then self.failed = self.failed + 1 end
  local text = passed and "ok    " .. name or ("FAIL  %s: %s"):format(name, problem or "")
  reaper.ShowConsoleMsg(text .. "\n")
end

--- Ask by every way there is.
local function ask(self)
  -- Segue's server alone can say that it does not know this job, so its word proves the way.
  self.id = ("reaper-self-test-%x"):format(os.time())
  local messages = { { address = "/segue/cancel", { "s", self.id } } }
  local text = line.text(messages)
  local files, problem = spool.order(self.id, text)
  tell(self, "an order can be left in " .. spool.folder(), files, problem)
  if files then self.ways[1] = { name = "Segue answers by files", asked = files } end
  local fast, how = wire.quick(self.id, messages, text)
  if not fast then return tell(self, "orders go as files alone: " .. how, true) end
  local name = ("Segue answers %s, on port %d"):format(how, fast.port)
  self.ways[#self.ways + 1] = { name = name, asked = fast }
  if not fast.start_seconds then return end
  local took = ("starting curl held REAPER up for %.0f ms"):format(fast.start_seconds * 1000)
  tell(self, took, true)
end

function self_test.new()
  local self = setmetatable({ failed = 0, began = reaper.time_precise(), ways = {} }, self_test)
  local proj = reaper.EnumProjects(-1)
  for _, each in ipairs(AT_ONCE) do
    local worked, passed, problem = pcall(each[2], proj)
    tell(self, each[1], worked and passed, worked and problem or passed)
  end
  ask(self)
  return self
end

local function finish(self)
  local text = self.failed == 0 and "all passed" or self.failed .. " failed"
  reaper.ShowConsoleMsg("Segue's self-test: " .. text .. "\n")
  return false
end

--- Whether there is no more to come by a way.
local function heard(self, way)
  for _, message in ipairs(way.asked:answers()) do
    if message.address == "/segue/error" and message[1] == self.id then
      tell(self, way.name, message[2] == "unknown-id", message[3])
      return true
    end
    way.last = message[2]
  end
  if reaper.time_precise() - self.began < ANSWER_SECONDS then return false end
  tell(self, way.name, false, way.last or "nobody does: start it with `segue up`")
  return true
end

--- One turn; false at the end.
function self_test:step()
  for place = #self.ways, 1, -1 do
    local way = self.ways[place]
    if heard(self, way) then
      way.asked:close()
      table.remove(self.ways, place)
    end
  end
  return #self.ways > 0 or finish(self)
end

return self_test
