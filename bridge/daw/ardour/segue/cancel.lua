-- Segue: placed by `segue install`, which replaces it: changes are lost.
-- An action: take all orders of this session back; `segue spool` tells the bridge.

local need = ...
local journal, notices, spool = need ("journal"), need ("notices"), need ("spool")

return function ()
	notices.clear_warnings ()
	for _, order in ipairs (journal.read ("order")) do
		spool.remove (order.id)
		journal.remove ("order", order.id)
		print ("Segue: cancelled " .. order.id)
	end
end
