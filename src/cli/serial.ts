import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import type { SerialPort } from '../machine/serial-port.ts';
import { UsageError } from './errors.ts';
import { type FlowControl, flowControlled } from './output.ts';
import type { SerialBackend } from './serial-backend.ts';
import { connectStdio, type StdioActions } from './stdio.ts';

/** Where the guest's serial console goes. */
export type SerialSpec =
  | { readonly kind: 'stdio' }
  | { readonly kind: 'null' }
  | { readonly kind: 'file'; readonly path: string }
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number };

/** Output kept for a TCP client that has not come yet. */
const TCP_BACKLOG = 1 << 20;

/** stdio | null | file:PATH | tcp:HOST:PORT. Throws UsageError. */
export function parseSerial(spec: string): SerialSpec {
  if (spec === 'stdio' || spec === 'null') return { kind: spec };
  if (spec.startsWith('file:') && spec.length > 5) return { kind: 'file', path: spec.slice(5) };
  const tcp = /^tcp:(\[[^\]]+\]|[^:]*):(\d{1,5})$/.exec(spec);
  if (tcp !== null && Number(tcp[2]) < 65536) {
    return { kind: 'tcp', host: tcp[1]!.replace(/^\[|\]$/g, '') || '127.0.0.1', port: Number(tcp[2]) };
  }
  throw new UsageError(
    `--serial ${spec}: is none of stdio, null, file:PATH, tcp:HOST:PORT (a port from 0 to 65535, 0 picks one)`,
  );
}

/** Opens what `spec` names. Rejects with UsageError. */
export async function openSerial(spec: SerialSpec, actions: StdioActions): Promise<SerialBackend> {
  switch (spec.kind) {
    case 'stdio':
      return connectStdio(process.stdin, process.stdout, actions);
    case 'null':
      return { connect: () => {}, close: async () => {} };
    case 'file':
      return openFile(spec.path, actions);
    case 'tcp':
      return listen(spec.host, spec.port, actions);
  }
}

async function openFile(path: string, flow: FlowControl): Promise<SerialBackend> {
  const stream = createWriteStream(path);
  try {
    await once(stream, 'open');
  } catch (error) {
    throw new UsageError(`--serial file:${path}: cannot be written: ${(error as Error).message}; name another file`);
  }
  let failure: Error | undefined;
  stream.on('error', (error) => {
    failure = error;
  });
  const finish = async (): Promise<void> => {
    if (failure === undefined) {
      stream.end();
      await once(stream, 'close').catch(() => {});
    }
    if (failure !== undefined) throw new UsageError(`--serial file:${path}: ${failure.message}; make room`);
  };
  let closing: Promise<void> | undefined;
  return {
    connect: (port) => void port.onData(flowControlled(stream, flow)),
    close: () => (closing ??= finish()),
  };
}

async function listen(host: string, portNumber: number, actions: StdioActions): Promise<SerialBackend> {
  const backlog: Uint8Array[] = [];
  let backlogSize = 0;
  let client: Socket | undefined;
  let send: (bytes: Uint8Array) => void = () => {};
  let machine: SerialPort | undefined;
  const server = createServer({ noDelay: true }, (socket) => {
    socket.on('error', () => socket.destroy());
    if (client !== undefined) {
      socket.end('ukl-emu: the console is in use\r\n');
      return;
    }
    client = socket;
    send = flowControlled(socket, actions);
    socket.on('close', () => {
      client = undefined;
    });
    for (const bytes of backlog.splice(0)) send(bytes);
    backlogSize = 0;
    socket.on('data', (bytes) => {
      socket.pause();
      void machine?.write(bytes).then(() => socket.resume());
    });
  });
  server.listen(portNumber, host);
  try {
    await once(server, 'listening');
  } catch (error) {
    const { message } = error as Error;
    throw new UsageError(`--serial tcp:${host}:${portNumber}: cannot listen: ${message}; use another port, or 0`);
  }
  const address = server.address();
  if (address !== null && typeof address === 'object') {
    actions.note(`serial console listens on ${address.address} port ${address.port}`);
  }
  return {
    connect(port) {
      machine = port;
      port.onData((bytes) => {
        if (client !== undefined) {
          send(bytes);
          return;
        }
        backlog.push(bytes);
        backlogSize += bytes.length;
        while (backlogSize > TCP_BACKLOG) backlogSize -= backlog.shift()!.length;
      });
    },
    async close() {
      server.close();
      if (client === undefined) return;
      const ended = once(client, 'close').catch(() => {});
      client.end();
      client.resume();
      await Promise.race([ended, new Promise((resolve) => setTimeout(resolve, 1000))]);
      client?.destroy();
    },
  };
}
