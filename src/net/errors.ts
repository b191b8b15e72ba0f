/** A network option that cannot be used, or a port that is taken. `message` is one line: the option, the problem, what to do. */
export class NetError extends Error {
  override readonly name = 'NetError';
}
