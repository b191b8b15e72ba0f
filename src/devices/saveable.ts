/** A device whose whole state is plain data: structured-cloneable, no functions, no references to other devices. */
export interface Saveable<State> {
  /** A copy of the state, valid for ever. */
  save(): State;
  /** Takes over a saved state (copied), arms its alarms again and drives its interrupt lines to match. */
  load(state: State): void;
}
