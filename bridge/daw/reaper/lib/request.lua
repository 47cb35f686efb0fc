-- Segue: placed by `segue install`, which replaces it: changes are lost.
-- One request from region to clip, in turns that never wait: audio, order, answer, clip.

local use = ...
local region, source, bounce, stems = use("region"), use("source"), use("bounce"), use("stems")
local order, job, wire, spool = use("order"), use("job"), use("wire"), use("spool")
local copy, placing, tasks, curves = use("copy"), use("placing"), use("tasks"), use("curves")
local leftover, project, reading = use("leftover"), use("project"), use("reading")

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

--- What is to be heard, {found, audio}, without audio where there is no file to read it from; or
--- {problem}, what to do.
local function place_of(self)
  local found, problem = region.find(self.proj, self.task.gap)
  if not found then return { problem = problem } end
  if self.task.gap then found = region.around(found) end
  -- An instrument's track is silent before its effects.
  local instrument = reaper.TrackFX_GetInstrument(found.track) >= 0
  if self.wish.effects or instrument then return { found = found, heard = true } end
  local audio = not self.task.side and source.find(found, true)
  return { found = found, audio = audio or source.find(found, false) }
end

local function order_of(self)
  local audio = self.audio
  local read = order.read(self.proj, self.id, self.wish, self.found, audio)
  audio.level = audio.heard and 1 or curves.level(self.found.track, read.seam, audio.rate)
  return read
end

--- Begin, with the project in front. `wish` as in order.read, and `effects`.
--- `text` says how far it is, `notice` what the producer must know even without a window.
function request.new(wish)
  local id, mark = new_id(), project.mark()
  local self = setmetatable({
    id = id, proj = mark.proj, mark = mark, wish = wish, task = tasks[wish.task],
    job = job.new(id), state = "looking", text = "reading the audio", fraction = 0,
  }, request)
  self.read = reading.new(self.proj, function() return place_of(self) end)
  return self
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

local function fail_reading(self, gone)
  if self.bounce then self.bounce:stop() end
  fail(self, gone .. " while it was read")
end

--- Find the track anew, or fail where it is gone.
local function is_there(self)
  local track, _, gone = project.find(self.mark)
  self.found.track = track
  if not track then fail_reading(self, gone) end
  return track ~= nil
end

--- The audio, false while it is being read, nil and a problem.
local function audio_of(self)
  if self.audio then return self.audio end
  if self.bounce then return self.bounce:step() end
  local folder = folder_in_project(self.proj, "/in")
  if self.heard then return stems.render(self.proj, self.found, folder, self.id) end
  local begun, problem = bounce.new(self.proj, self.found, folder .. "/" .. self.id .. ".wav")
  self.bounce = begun
  return begun and false, problem
end

local TURNS = {}

function TURNS.looking(self)
  local gone = project.gone(self.mark)
  if gone then return fail_reading(self, gone) end
  local place = self.read:step()
  if not place then return end
  if place.problem then return fail(self, place.problem) end
  project.mark_track(self.mark, place.found.track)
  self.found, self.audio, self.heard = place.found, place.audio, place.heard
  self.state = "reading"
  self:step()
end

function TURNS.reading(self)
  if not is_there(self) then return end
  local audio, problem = audio_of(self)
  if audio == nil then return fail(self, problem) end
  if not audio then return end
  self.audio = audio
  self.read = reading.new(self.proj, function() return order_of(self) end)
  self.state = "ordering"
  self:step()
end

function TURNS.ordering(self)
  local read = is_there(self) and self.read:step()
  if not read then return end
  self.encode = coroutine.wrap(function() return order.encode(read) end)
  self.state = "encoding"
  self:step()
end

function TURNS.encoding(self)
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
