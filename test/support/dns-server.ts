import { createSocket } from 'node:dgram';
import { once } from 'node:events';

/** A name server that knows a few names (RFC 1035): A records over UDP; everything else is NXDOMAIN or empty. */

const TYPE_A = 1;
const HEADER = 12;
const NXDOMAIN = 3;

export interface NameServer {
  /** `127.0.0.1:PORT` */
  readonly address: string;
  /** Names asked for so far, in order. */
  readonly queries: readonly string[];
  close(): void;
}

/** `names` maps lower-case names to IPv4 addresses. */
export async function startNameServer(names: Readonly<Record<string, string>>): Promise<NameServer> {
  const socket = createSocket('udp4');
  const queries: string[] = [];
  socket.on('message', (query, { address, port }) => {
    const { name, end } = readName(query);
    queries.push(name);
    const known = names[name];
    const records = known !== undefined && query.readUInt16BE(end) === TYPE_A ? [known] : [];
    const question = query.subarray(HEADER, end + 4);
    const header = Buffer.alloc(HEADER);
    query.copy(header, 0, 0, 2);
    header.writeUInt16BE(0x8180 | (known === undefined ? NXDOMAIN : 0), 2);
    header.writeUInt16BE(1, 4);
    header.writeUInt16BE(records.length, 6);
    const answers = records.map((ip) =>
      // a pointer to the name in the question, A, IN, 60 seconds, 4 bytes
      Buffer.from([0xc0, HEADER, 0, TYPE_A, 0, 1, 0, 0, 0, 60, 0, 4, ...ip.split('.').map(Number)]),
    );
    socket.send(Buffer.concat([header, question, ...answers]), port, address);
  });
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  return { address: `127.0.0.1:${socket.address().port}`, queries, close: () => socket.close() };
}

/** The name asked for, and where it ends in the message. */
function readName(message: Buffer): { name: string; end: number } {
  const labels: string[] = [];
  let at = HEADER;
  for (let length = message[at]!; length !== 0; length = message[at]!) {
    labels.push(message.toString('latin1', at + 1, at + 1 + length).toLowerCase());
    at += 1 + length;
  }
  return { name: labels.join('.'), end: at + 1 };
}
