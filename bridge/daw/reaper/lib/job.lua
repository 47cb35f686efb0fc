-- Segue: placed by `segue install`, which replaces it: changes are lost.
-- A job as its answers tell it: a table of what may follow what. No files and no clock.

local job = {}
job.__index = job

local MAX_CLIPS = 64

local OPEN = { accepted = "accepted", done = "done", failed = "failed", cancelled = "cancelled" }
local TRANSITIONS = { asked = OPEN, accepted = OPEN }

function job.new(id)
  return setmetatable({
    id = id, state = "asked", text = "asking Segue", fraction = 0, variations = {},
  }, job)
end

function job:ended()
  return TRANSITIONS[self.state] == nil
end

local function go(self, event)
  self.state = TRANSITIONS[self.state][event]
end

--- What is to be laid on the timeline: the overlay where there is one, else the clip.
local function to_lay(path, start, overlay, overlay_start)
  if overlay and overlay ~= "" then
    return { path = overlay, start = overlay_start, overlay = true }
  end
  return { path = path, start = start, overlay = false }
end

local HEARD = {
  ["/spool/waiting"] = function(self, text) self.waiting = text end,
  ["/segue/job/accepted"] = function(self)
    go(self, "accepted")
    self.text, self.waiting = "queued", nil
  end,
  ["/segue/job/progress"] = function(self, fraction, stage)
    go(self, "accepted")
    self.fraction, self.text, self.waiting = fraction, stage, nil
  end,
  ["/segue/job/variation"] = function(self, number, ...)
    self.variations[number] = { ... }
  end,
  ["/segue/job/done"] = function(self, path, start, _, rate, seed, overlay, overlay_start)
    self.rate, self.seed = rate, seed
    self.clips = { to_lay(path, start, overlay, overlay_start) }
    for number = 2, MAX_CLIPS do
      local other = self.variations[number]
      if other then self.clips[#self.clips + 1] = to_lay(other[1], start, other[2], other[3]) end
    end
    go(self, "done")
  end,
  ["/segue/job/cancelled"] = function(self) go(self, "cancelled") end,
  ["/segue/error"] = function(self, _, text)
    self.text = text
    go(self, "failed")
  end,
}

--- Where its clips are.
function job:paths()
  local paths = {}
  for place, clip in ipairs(self.clips) do paths[place] = clip.path end
  return table.concat(paths, ", ")
end

--- Take an answer; one of another job, or after the end, changes nothing.
function job:hear(message)
  local heard = HEARD[message.address]
  if heard and message[1] == self.id and not self:ended() then
    heard(self, table.unpack(message, 2, #message))
  end
end

return job
