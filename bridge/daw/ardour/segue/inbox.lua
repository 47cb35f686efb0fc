-- Segue: placed by `segue install`, which replaces it: changes are lost.
-- Runs ten times a second: shows how far the session's orders are, and lays what is there.
-- Ardour makes it anew with every session, so what it finds first was ordered before that.

local need = ...
local answers, journal, notices = need ("answers"), need ("journal"), need ("notices")
local laid, place, spool = need ("laid"), need ("place"), need ("spool")

local shown = {} -- id: the text of its range, and where that is
local late -- ids of orders from before this session was opened
local busy, complaint = false, nil

local function text_of (order, known)
	if not spool.attended (order.id) then
		return "nobody answers: start `segue up`, or start it anew; this waits"
	elseif known.fraction and not known.waiting then
		return ("%d %% %s"):format (math.floor (100 * known.fraction), known.stage)
	end
	return known.waiting or "waiting"
end

local function show (order, known)
	local now, text = shown[order.id], text_of (order, known)
	if not now or now.text ~= text then
		notices.progress (text, now and now.text, order.from, order.to)
		shown[order.id] = { text = text, from = order.from }
	end
end

-- Not while somebody records or is in the middle of an edit.
local function may_place ()
	return not Session:actively_recording () and not Session:collected_undo_commands ()
end

local function lay (order, known)
	local ok, tracks, newest = pcall (place, order, known.clips)
	if not ok then
		notices.warn (tracks .. "; the clip is kept in " .. known.path, order.from)
		return
	end
	laid.remember (order, known.path, newest)
	local text = ("%s on %s, seed %d"):format (order.region, table.concat (tracks, ", "), known.seed)
	if #tracks > 1 then
		text = text .. "; all but the first are muted"
	end
	if not known.clips[1].overlay then
		text = text .. "; mute the original to hear it alone"
	end
	print ("Segue: " .. text)
end

local function finish (order, known)
	if known.clips and late[order.id] then
		notices.warn ("made while the session was closed: " .. known.path, order.from)
	elseif known.clips then
		lay (order, known)
	elseif known.problem then
		notices.warn (known.problem, order.from)
	end
	spool.remove (order.id)
	journal.remove ("order", order.id)
end

local function forget_closed (open)
	for id, range in pairs (shown) do
		if not open[id] then
			notices.no_progress (range.text, range.from)
			shown[id] = nil
		end
	end
end

local function look ()
	local orders, open = journal.read ("order"), {}
	laid.look (not late)
	if not late then
		late = {}
		for _, order in ipairs (orders) do
			late[order.id] = true
		end
		notices.clear_progress ()
	end
	for _, order in ipairs (orders) do
		local known = answers (order.id)
		if known.problem or known.cancelled or (known.clips and may_place ()) then
			finish (order, known)
		else
			open[order.id] = true
			show (order, known)
		end
	end
	forget_closed (open)
end

return function ()
	if busy or not Session then -- importing lets other events happen
		return
	end
	busy = true
	local ok, problem = pcall (look)
	busy = false
	if not ok and problem ~= complaint then
		complaint = problem
		print ("Segue: " .. tostring (problem))
	end
end
