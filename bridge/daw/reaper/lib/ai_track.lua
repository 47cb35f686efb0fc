-- Segue: placed by `segue install`, which replaces it: changes are lost.
-- The track for what Segue makes: beside the track it was made from, sounding alike.

local ai_track = {}

local LIKE = {
  "D_VOL", "I_PANMODE", "D_PAN", "D_WIDTH", "D_DUALPANL", "D_DUALPANR", "D_PANLAW",
  "I_PANLAW_FLAGS", "B_PHASE", "I_NCHAN", "I_FXEN",
}
local LATE_LIKE = { "I_PLAY_OFFSET_FLAG", "D_PLAY_OFFSET" } -- how much later its media are played
local PARENT_LIKE = { "B_MAINSEND", "C_MAINSEND_OFFS", "C_MAINSEND_NCH" }
local SENDS = 0 -- not receives or hardware outputs
local SEND_LIKE = {
  "B_MUTE", "B_PHASE", "B_MONO", "D_VOL", "D_PAN", "D_PANLAW", "I_SENDMODE", "I_SRCCHAN",
  "I_DSTCHAN", "I_MIDIFLAGS",
}

function ai_track.name(track)
  local _, name = reaper.GetSetMediaTrackInfo_String(track, "P_NAME", "", false)
  if name ~= "" then return name end
  return "Track " .. math.floor(reaper.GetMediaTrackInfo_Value(track, "IP_TRACKNUMBER"))
end

--- The last track of a folder closes it; the new one below must lie inside and close it instead.
local function stay_in_folder(track, new)
  local depth = reaper.GetMediaTrackInfo_Value(track, "I_FOLDERDEPTH")
  if depth < 0 then
    reaper.SetMediaTrackInfo_Value(track, "I_FOLDERDEPTH", 0)
    reaper.SetMediaTrackInfo_Value(new, "I_FOLDERDEPTH", depth)
  end
end

local function copy_values(track, new, names)
  for _, name in ipairs(names) do
    reaper.SetMediaTrackInfo_Value(new, name, reaper.GetMediaTrackInfo_Value(track, name))
  end
end

--- To the same parent or not, and the same buses: a reverb is to go on too.
local function go_alike(track, new)
  copy_values(track, new, PARENT_LIKE)
  for index = 0, reaper.GetTrackNumSends(track, SENDS) - 1 do
    local function value(name) return reaper.GetTrackSendInfo_Value(track, SENDS, index, name) end
    local made = reaper.CreateTrackSend(new, value("P_DESTTRACK"))
    for _, name in ipairs(SEND_LIKE) do
      reaper.SetTrackSendInfo_Value(new, SENDS, made, name, value(name))
    end
  end
end

--- Pre-fader audio is laid over pre-fader audio, so both need the same fader and effects. They are
--- copied in one turn, for they belong to the clip's undo step, and what is done between two turns
--- does not.
local function sound_alike(track, new)
  copy_values(track, new, LIKE)
  for index = 0, reaper.TrackFX_GetCount(track) - 1 do
    reaper.TrackFX_CopyToTrack(track, index, new, index, false)
  end
end

--- The track of a name at an index, or below the one there if that is the other one of ours.
local function find(proj, index, name, other)
  local there = reaper.GetTrack(proj, index)
  if not there then return nil end
  if ai_track.name(there) == name then return there end
  return other and ai_track.name(there) == other and find(proj, index + 1, name) or nil
end

--- The track beside this one, made if it is not there yet. `heard`: its audio has been through
--- the track's fader and effects already. The tracks below a folder's own go through those of the
--- folder: what has been through them lies above it.
function ai_track.beside(proj, track, heard)
  local name, other = "AI: " .. ai_track.name(track), "AI, as heard: " .. ai_track.name(track)
  if heard then name, other = other, name end
  local place = math.floor(reaper.GetMediaTrackInfo_Value(track, "IP_TRACKNUMBER")) -- just below
  local is_folder = reaper.GetMediaTrackInfo_Value(track, "I_FOLDERDEPTH") > 0
  local above = heard and is_folder
  local there = find(proj, above and place - 2 or place, name, other)
  if there then return there end
  if above then place = place - 1 end
  reaper.InsertTrackAtIndex(place, false)
  local new = reaper.GetTrack(proj, place)
  reaper.GetSetMediaTrackInfo_String(new, "P_NAME", name, true)
  stay_in_folder(track, new)
  if heard or not is_folder then go_alike(track, new) end
  if not heard and not is_folder then sound_alike(track, new) end
  if not heard then copy_values(track, new, LATE_LIKE) end
  reaper.TrackList_AdjustWindows(false)
  return new
end

return ai_track
