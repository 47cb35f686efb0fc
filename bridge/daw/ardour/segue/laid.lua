-- Segue: placed by `segue install`, which replaces it: changes are lost.
-- Clips that were laid: until the session is saved, they would go with it if Ardour crashed.

local need = ...
local journal, notices = need ("journal"), need ("notices")
local laid = {}

local HEAD_BYTES = 1024 -- of a session's file: all there is of its first element, and more

-- Below it are all ids that the session's file may have; Ardour counts on with each new object.
local function saved_ids ()
	local name = Session:snap_name () .. ".ardour"
	local file = io.open (ARDOUR.LuaAPI.build_filename (Session:path (), name), "rb")
	if not file then
		return 0 -- it is just being saved
	end
	local head = file:read (HEAD_BYTES) or ""
	file:close ()
	return tonumber (head:match ('id%-counter="(%d+)"')) or 0
end

local function is_there (entry)
	return not ARDOUR.RegionFactory.region_by_id (PBD.ID (entry.region_id)):isnil ()
end

-- Remember the clips of an order until they are saved: `path` of the first, id of the newest.
function laid.remember (order, path, region_id)
	local entry = { id = order.id, path = path, region_id = region_id, from = order.from }
	journal.add ("laid", entry)
end

-- Forget what has been saved by now. Where the session was `opened` just now, name the file of
-- what has not been, and is not in Ardour's own backup either.
function laid.look (opened)
	local entries = journal.read ("laid")
	local saved = #entries > 0 and saved_ids () or 0
	for _, entry in ipairs (entries) do
		local lost = opened and not is_there (entry)
		if saved > tonumber (entry.region_id) then
			journal.remove ("laid", entry.id)
		elseif lost then
			notices.warn ("laid, but the session was not saved with it: " .. entry.path, entry.from)
			journal.remove ("laid", entry.id)
		end
	end
end

return laid
