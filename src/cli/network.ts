import type { NetworkCard } from '../machine/options.ts';
import { createNet, type Net } from '../net/create.ts';
import { captureToFile } from '../net/pcap-file.ts';
import { UsageError } from './errors.ts';

/**
 * The networks that the `--net` options ask for, as cards, with the first one's frames recorded in the file `pcap`. The machine closes
 * them. Rejects with NetError or UsageError.
 */
export async function openNetwork(
  specs: readonly string[],
  pcap: string | undefined,
  note: (line: string) => void,
): Promise<NetworkCard[]> {
  const nets: Net[] = [];
  try {
    for (const spec of specs) nets.push(await createNet(spec));
    const [first] = nets;
    if (pcap !== undefined) {
      if (first?.backend === undefined) throw new UsageError(`--pcap ${pcap}: there is no card to record; use --net`);
      const backend = await captureToFile(first.backend, pcap, (error) => note(error.message));
      nets[0] = { ...first, backend };
    }
  } catch (error) {
    await Promise.all(nets.map(({ backend }) => backend?.close()));
    throw error;
  }
  for (const { protocol, hostAddress, hostPort, guestAddress, guestPort } of nets.flatMap(({ api }) => api.forwards)) {
    note(`forwarding ${protocol} ${hostAddress} port ${hostPort} to ${guestAddress} port ${guestPort}`);
  }
  return nets;
}
