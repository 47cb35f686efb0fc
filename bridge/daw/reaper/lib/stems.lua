-- Segue: placed by `segue install`, which replaces it: changes are lost.
-- A stretch of a track as it is heard, effects and instruments included: REAPER's own render.
-- REAPER renders while everything waits, and every setting is put back, whatever happens.

local use = ...
local region = use("region")

local stems = {}

local RENDER = 42230 -- File: Render project, using the most recent render settings, auto-close
local STEMS_OF_SELECTED_TRACKS, CUSTOM_BOUNDS = 2, 0
local FLOAT_WAV = "ZXZhdyAAAQ==" -- as project files have it: what is above full scale is kept

local function saved(proj, names, read, empty)
  local values = {}
  for name in pairs(names) do values[name] = read(proj, name, empty, false) end
  return values
end

local function read_text(proj, name)
  local _, text = reaper.GetSetProjectInfo_String(proj, name, "", false)
  return text
end

local function set_all(proj, set, values)
  for name, value in pairs(values) do set(proj, name, value, true) end
end

local function selection(proj)
  local selected = {}
  for i = 0, reaper.CountTracks(proj) - 1 do
    local track = reaper.GetTrack(proj, i)
    selected[track] = reaper.GetMediaTrackInfo_Value(track, "I_SELECTED")
  end
  return selected
end

--- The file that will be named so; a second one of REAPER's may follow, and a path may hold `;`.
local function target(proj, name)
  local targets = read_text(proj, "RENDER_TARGETS")
  local _, last = targets:find(name .. ".wav", 1, true)
  return last and targets:sub(1, last)
end

local function render(proj, track, numbers, texts)
  reaper.SetOnlyTrackSelected(track)
  set_all(proj, reaper.GetSetProjectInfo, numbers)
  set_all(proj, reaper.GetSetProjectInfo_String, texts)
  local path = target(proj, texts.RENDER_PATTERN)
  reaper.Main_OnCommandEx(RENDER, 0, proj)
  return path
end

local function restored(proj, numbers, texts, body)
  local old_numbers = saved(proj, numbers, reaper.GetSetProjectInfo, 0)
  local old_texts = saved(proj, texts, read_text, "")
  local selected = selection(proj)
  local done, result = pcall(body)
  set_all(proj, reaper.GetSetProjectInfo, old_numbers)
  set_all(proj, reaper.GetSetProjectInfo_String, old_texts)
  for track, value in pairs(selected) do
    reaper.SetMediaTrackInfo_Value(track, "I_SELECTED", value)
  end
  return done and result or nil, result
end

--- The audio, or nil and a problem.
function stems.render(proj, found, folder, name)
  local rate = region.rate(proj)
  local start, finish = region.snap(found.start, rate), region.snap(found.finish, rate)
  local numbers = {
    RENDER_SETTINGS = STEMS_OF_SELECTED_TRACKS, RENDER_BOUNDSFLAG = CUSTOM_BOUNDS,
    RENDER_STARTPOS = start, RENDER_ENDPOS = finish, RENDER_SRATE = rate, RENDER_CHANNELS = 2,
    RENDER_TAILFLAG = 0, RENDER_ADDTOPROJ = 0, RENDER_NORMALIZE = 0, RENDER_DITHER = 0,
  }
  local texts = { RENDER_FILE = folder, RENDER_PATTERN = name, RENDER_FORMAT = FLOAT_WAV,
    RENDER_FORMAT2 = "" }
  local path, problem = restored(proj, numbers, texts, function()
    return render(proj, found.track, numbers, texts)
  end)
  local file = path and io.open(path, "rb")
  if not file then return nil, "REAPER rendered nothing: " .. tostring(problem) end
  file:close()
  return { path = path, start_seconds = 0, length = finish - start, start = start, rate = rate,
    heard = true, written = true }
end

return stems
