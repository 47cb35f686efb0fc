-- Segue: placed by `segue install`, which replaces it: changes are lost.
-- The scripts that are actions.

return {
  "segue", "segue_continue", "segue_before", "segue_both", "segue_fill", "segue_vary",
  "segue_loop", "segue_stop", "segue_self_test",
}
