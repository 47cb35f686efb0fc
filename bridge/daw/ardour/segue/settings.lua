-- Segue: placed by `segue install`, once: it is yours to change. For presets see `segue presets`.
return {
	bars = 4, -- how much "continue" makes when no range is selected beyond the region's end
	continue = "", -- the preset of each action; "" is the default
	inpaint = "bridge-the-gap",
	vary = "vary-a-little",
}
