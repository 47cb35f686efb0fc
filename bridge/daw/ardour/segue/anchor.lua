-- Segue: placed by `segue install`, which replaces it: changes are lost.
-- The region that music is made for: where it is no longer what it was, the music does not fit.

local anchor = {}

local function id_of (object)
	return object:to_stateful ():id ():to_s ()
end

-- The region of an id where it is on a track; the playlist itself finds removed ones too.
function anchor.on (track, id)
	for region in track:playlist ():region_list ():iter () do
		if id_of (region) == id then
			return region
		end
	end
end

-- Where the region's file would begin on the timeline: cutting its front moves nothing.
local function origin (region)
	return region:position ():samples () - region:start ():samples ()
end

local function last (region)
	return region:position ():samples () + region:length ():samples ()
end

-- What an order remembers of its region.
function anchor.of (region, track)
	return id_of (track), id_of (region), origin (region), last (region)
end

-- An error that says what has happened to the region since it was ordered, if anything has.
function anchor.check (order)
	local route = Session:route_by_id (PBD.ID (order.track_id))
	if route:isnil () then
		error ("the track of " .. order.region .. " is gone", 0)
	end
	local region = anchor.on (route:to_track (), order.region_id)
	if not region then
		error (order.region .. " is no longer on its track", 0)
	elseif origin (region) ~= order.origin or last (region) ~= order.last then
		error (order.region .. " has been moved or cut", 0)
	end
end

return anchor
