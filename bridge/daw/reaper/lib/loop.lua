-- Segue: placed by `segue install`, which replaces it: changes are lost.
-- A function called at every turn that REAPER gives to scripts, as long as it returns true.

return function(turn)
  local function again()
    local worked, going = xpcall(turn, debug.traceback)
    if not worked then
      reaper.ShowConsoleMsg("Segue has stopped, this is a bug: " .. tostring(going) .. "\n")
    elseif going then
      reaper.defer(again)
    end
  end
  again()
end
