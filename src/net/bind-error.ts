import { NetError } from './errors.ts';

/** The NetError for a port that cannot be bound. */
export function bindError(what: string, host: string, port: number, error: NodeJS.ErrnoException): NetError {
  const where = `${host.includes(':') ? `[${host}]` : host}:${port}`;
  switch (error.code) {
    case 'EADDRINUSE':
      return new NetError(`${what}: ${where} is in use on this host; choose another port, or 0 for any free one`);
    case 'EACCES':
      return new NetError(`${what}: no permission to bind ${where}; choose a port above 1023`);
    case 'EADDRNOTAVAIL':
      return new NetError(`${what}: ${host} is not an address of this host`);
    default:
      return new NetError(`${what}: cannot bind ${where}: ${error.message}`);
  }
}
