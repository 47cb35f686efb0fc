-- Segue: placed by `segue install`, which replaces it: changes are lost.
-- What can be asked for: where the new music goes, and the presets that fit.
-- `side` is where it is made; a task without one makes the region itself anew.

local CONTINUING = {
  "continue", "four-bars", "rise", "drop", "breakdown", "build-up-and-drop", "swell", "fade-out",
  "hold-on", "sketch", "best-of-eight", "aba", "aabb", "follow-my-melody", "say-it-in-words",
}

local tasks = {
  continue = { title = "Continue", side = "right", presets = CONTINUING },
  before = { title = "Before", side = "left", presets = { "lead-in" } },
  both = { title = "Both sides", side = "both", presets = { "both-sides" } },
  fill = { title = "Make the selection anew", gap = true, presets = { "bridge-the-gap" } },
  vary = { title = "Vary", presets = { "vary-a-little", "vary-a-lot" } },
  loop = { title = "Loop", side = "loop", presets = { "seamless-loop" } },
}

tasks.order = { "continue", "before", "both", "fill", "vary", "loop" }

return tasks
