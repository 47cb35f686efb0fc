-- Segue: placed by `segue install`, which replaces it: changes are lost.
-- Words for the producer where no window shows them: REAPER's console.

return function(text)
  reaper.ShowConsoleMsg("Segue: " .. text .. "\n")
end
