-- Segue: placed by `segue install`, which replaces it: changes are lost.
-- A request's project and track, found again later. REAPER uses a tab's pointer again when another
-- file is opened in it, and maybe a track's: that it is the same one only its GUID can say.

local project = {}

local CLOSED = "the project was closed"

--- The file of what is open as this project, and whether it is in front; nil where nothing is.
local function open_file(proj)
  local front, file = reaper.EnumProjects(-1)
  if front == proj then return file, true end
  local index = 0
  local each, its = reaper.EnumProjects(index)
  while each do
    if each == proj then return its, false end
    index = index + 1
    each, its = reaper.EnumProjects(index)
  end
end

--- The project in front.
function project.mark()
  local proj, file = reaper.EnumProjects(-1)
  return { proj = proj, file = file }
end

--- What has happened to the project itself; nil where it is still open.
function project.gone(mark)
  return open_file(mark.proj) ~= mark.file and CLOSED or nil
end

--- From now on, the mark is that of this track too.
function project.mark_track(mark, track)
  mark.id, mark.track = reaper.GetTrackGUID(track), track
end

--- Where it was, or anywhere: undoing that it was removed makes it anew.
local function track_of(mark)
  local last = mark.track
  local there = reaper.ValidatePtr2(mark.proj, last, "MediaTrack*")
  if there and reaper.GetTrackGUID(last) == mark.id then return last end
  for index = 0, reaper.CountTracks(mark.proj) - 1 do
    local track = reaper.GetTrack(mark.proj, index)
    if reaper.GetTrackGUID(track) == mark.id then return track end
  end
end

--- The track and whether its project is in front; else nil, nil and what has happened.
function project.find(mark)
  local file, in_front = open_file(mark.proj)
  if not file then return nil, nil, CLOSED end
  local track = track_of(mark)
  mark.track = track or mark.track
  if track then return track, in_front end
  return nil, nil, file == mark.file and "the track was removed" or CLOSED
end

return project
