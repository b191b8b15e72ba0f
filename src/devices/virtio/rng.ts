import { DescriptorChain } from './chain.ts';
import { type VirtioDevice, type VirtioHost, VirtioType } from './device.ts';

/** Entropy device (virtio 1.2, 5.4). */

/** Fills its argument with random bytes: from the host, or from a seed for a reproducible run. */
export type EntropySource = (into: Uint8Array) => void;

/** Most bytes for one request; a longer one is answered in part, which is allowed (5.4.6.1). */
const MAX_BYTES = 4096;

export class VirtioRng implements VirtioDevice {
  readonly name = 'virtio-rng';
  readonly type = VirtioType.rng;
  readonly classCode = 0x00ff00;
  readonly features: readonly number[] = [];
  readonly queueSizes: readonly number[] = [8];
  readonly config = new Uint8Array(0);
  readonly #entropy: EntropySource;
  readonly #bytes = new Uint8Array(MAX_BYTES);
  #host!: VirtioHost;
  #chain!: DescriptorChain;

  constructor(entropy: EntropySource) {
    this.#entropy = entropy;
  }

  attach(host: VirtioHost): void {
    this.#host = host;
    this.#chain = new DescriptorChain(host.memory);
  }

  activate(): void {}

  notify(index: number): void {
    const queue = this.#host.queues[index]!;
    const chain = this.#chain;
    do {
      while (queue.pop(chain)) {
        let written = 0;
        if (!chain.malformed) {
          const bytes = this.#bytes.subarray(0, Math.min(chain.writableLength, MAX_BYTES));
          this.#entropy(bytes);
          written = chain.scatter(0, bytes);
        }
        queue.push(chain.head, written);
      }
    } while (queue.armNotification());
    queue.publish();
  }

  reset(): void {}

  /** The entropy source's state is its owner's. */
  save(): undefined {
    return undefined;
  }

  load(): void {}
}
