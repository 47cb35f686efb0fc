-- Segue: placed by `segue install`, which replaces it: changes are lost.
-- One request from region to clip, in turns that never wait: audio, order, answer, clip.

local use = ...
local region, source, bounce, stems = use("region"), use("source"), use("bounce"), use("stems")
local order, job, wire, spool = use("order"), use("job"), use("wire"), use("spool")
local copy, placing, tasks, curves = use("copy"), use("placing"), use("tasks"), use("curves")
local leftover, project = use("leftover"), use("project")

local DOUBLED = "done: mute what lies under it to hear it alone"

local request = {}
request.__index = request

--- Lua 5.3, which REAPER 6 has, draws the same numbers in every script: REAPER's own do not repeat.
local function new_id()
  return ("reaper-%x-%s"):format(os.time(), reaper.genGuid(""):match("%x+"):lower())
end

local function folder_in_project(proj, name)
  local folder = reaper.GetProjectPathEx(proj) .. "/Segue" .. name
  reaper.RecursiveCreateDirectory(folder, 0)
  return folder
end

local function region_of(proj, task)
  local found, problem = region.find(proj)
  if found and task.gap then return region.around(found) end
  return found, problem
end

--- Begin; nil and what to do where it cannot. `wish` as in order.read, and `effects`.
--- `text` says how far it is, `notice` what the producer must know even without a window.
function request.new(wish)
  local proj = reaper.EnumProjects(-1)
  local task = tasks[wish.task]
  local found, problem = region_of(proj, task)
  if not found then return nil, problem end
  local id = new_id()
  return setmetatable({
    id = id, proj = proj, mark = project.mark(found.track), wish = wish, task = task,
    found = found, job = job.new(id), state = "reading",
    text = "reading the audio", fraction = 0,
  }, request)
end

--- The job is over for Segue's side too: what was written only for it goes.
local function clean_up(self)
  if self.wire then
    self.wire:close()
    leftover.finish(self.id)
  end
  if self.audio and self.audio.written then os.remove(self.audio.path) end
end

local function fail(self, text)
  self.state, self.text, self.notice = "failed", text, text
  clean_up(self)
end

local function kept(self, why)
  if self.copy then self.copy:stop() end
  fail(self, ("%s; the clip is kept: %s"):format(why, self.job:paths()))
end

--- The audio, false while it is being read, nil and a problem.
local function audio_of(self)
  if self.bounce then return self.bounce:step() end
  local folder = folder_in_project(self.proj, "/in")
  -- An instrument's track is silent before its effects.
  local instrument = reaper.TrackFX_GetInstrument(self.found.track) >= 0
  if self.wish.effects or instrument then
    return stems.render(self.proj, self.found, folder, self.id)
  end
  local audio = not self.task.side and source.find(self.found, true)
  audio = audio or source.find(self.found, false)
  if audio then return audio end
  local begun, problem = bounce.new(self.proj, self.found, folder .. "/" .. self.id .. ".wav")
  self.bounce = begun
  return begun and false, problem
end

local TURNS = {}

function TURNS.reading(self)
  local track, _, gone = project.find(self.mark)
  if not track then
    if self.bounce then self.bounce:stop() end
    return fail(self, gone .. " while it was read")
  end
  self.found.track = track
  local audio, problem = audio_of(self)
  if audio == nil then return fail(self, problem) end
  if not audio then return end
  self.audio = audio
  local read, seam = order.read(self.proj, self.id, self.wish, self.found, audio)
  audio.level = audio.heard and 1 or curves.level(self.found.track, seam, audio.rate)
  self.encode = coroutine.wrap(function() return order.encode(read) end)
  self.state = "ordering"
  self:step()
end

function TURNS.ordering(self)
  local messages, text = self.encode()
  if not messages then return end -- there is more to do
  local problem
  self.wire, problem = wire.order(self.id, messages, text)
  if not self.wire then return fail(self, problem) end
  leftover.keep(self.id)
  self.state, self.text = "asking", self.job.text
end

local ENDS = {
  done = function(self) self.state, self.text = "ready", "copying the clip" end,
  failed = function(self) fail(self, self.job.text) end,
  cancelled = function(self) fail(self, "cancelled") end,
}

function TURNS.asking(self)
  leftover.keep(self.id)
  for _, message in ipairs(self.wire:answers()) do self.job:hear(message) end
  local attended = self.wire:attended(reaper.time_precise())
  self.notice = not attended and spool.UNATTENDED or self.job.waiting
  self.fraction, self.text = self.job.fraction, self.notice or self.job.text
  local ending = ENDS[self.job.state]
  if ending then ending(self) end
end

local function copied(self)
  for number, clip in ipairs(self.job.clips) do
    if not clip.copied then
      if not self.copy then
        local name = self.id .. (number > 1 and "-take" .. number or "")
        local begun, problem = copy.new(clip.path, folder_in_project(self.proj, ""), name)
        if not begun then return nil, problem end
        self.copy = begun
      end
      local path, problem = self.copy:step()
      if path == nil then self.copy = nil end
      if not path then return path, problem end
      clip.path, clip.copied, self.copy = path, true, nil
      return false
    end
  end
  return true
end

--- Into the project it came from and no other; another one in front is waited for.
function TURNS.ready(self)
  leftover.keep(self.id)
  local track, in_front, gone = project.find(self.mark)
  if not track then return kept(self, gone) end
  if not in_front then
    self.text = "ready: go back to its project"
    self.notice = self.text
    return
  end
  local all, problem = copied(self)
  if all == nil then return kept(self, problem) end
  if not all then return end
  local placed, trouble = placing.place({
    proj = self.proj, track = track, audio = self.audio, clips = self.job.clips,
    title = ("%s, seed %d"):format(self.wish.preset, self.job.seed),
  })
  if not placed then return kept(self, trouble) end
  clean_up(self)
  self.state, self.text, self.fraction = "peaks", "drawing its waveform", 1
end

function TURNS.peaks(self)
  if not project.find(self.mark) or placing.build_peaks(self.proj, self.job.clips) then
    -- What was made in place of the region lies beside it, unless it became the item's take.
    local doubled = not self.task.side and not self.audio.take
    self.state, self.notice = "done", doubled and DOUBLED or nil
    self.text = self.notice or "done"
  end
end

function request:ended()
  return TURNS[self.state] == nil
end

--- One turn.
function request:step()
  if not self:ended() then TURNS[self.state](self) end
end

--- Stop it, wherever it is; what has been placed stays.
function request:cancel()
  if self:ended() or self.state == "peaks" then return end
  if self.bounce then self.bounce:stop() end
  if self.state == "ready" then return kept(self, "cancelled") end
  fail(self, "cancelled")
end

--- What is to be done when the script ends, however it does: a clip that waits is told of by the
--- next one too, for REAPER and its console may be closing.
function request:leave()
  local waits = self.state == "ready"
  self:cancel()
  if waits then leftover.leave(self.id, self.job:paths()) end
end

return request
