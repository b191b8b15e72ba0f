/** Memory 0 of one virtual CPU with typed views; the views are renewed when it grows. */
export class StateMemory {
  readonly memory: WebAssembly.Memory;
  u8!: Uint8Array<ArrayBuffer>;
  u16!: Uint16Array<ArrayBuffer>;
  u32!: Uint32Array<ArrayBuffer>;
  i32!: Int32Array<ArrayBuffer>;
  i64!: BigInt64Array<ArrayBuffer>;
  u64!: BigUint64Array<ArrayBuffer>;
  #free: number;

  /** `dynamicBase`: where the space handed out by `allocate` begins. */
  constructor(dynamicBase: number) {
    this.memory = new WebAssembly.Memory({ initial: Math.ceil(dynamicBase / 65536) + 16 });
    this.#free = dynamicBase;
    this.#refresh();
  }
  #refresh(): void {
    const buffer = this.memory.buffer as ArrayBuffer;
    this.u8 = new Uint8Array(buffer);
    this.u16 = new Uint16Array(buffer);
    this.u32 = new Uint32Array(buffer);
    this.i32 = new Int32Array(buffer);
    this.i64 = new BigInt64Array(buffer);
    this.u64 = new BigUint64Array(buffer);
  }
  /** Bytes handed out so far, fixed part included. */
  get used(): number {
    return this.#free;
  }
  /** Zeroed space, aligned to `align` (a power of two); grows the memory by a quarter or 4 MiB at least. */
  allocate(bytes: number, align = 16): number {
    const at = (this.#free + align - 1) & -align;
    this.#free = at + bytes;
    const size = this.u8.length;
    if (this.#free > size) {
      const wanted = Math.max(this.#free - size, size >> 2, 4 << 20);
      this.memory.grow(Math.ceil(wanted / 65536));
      this.#refresh();
    }
    return at;
  }
  get32(offset: number): number {
    return this.u32[offset >> 2]!;
  }
  set32(offset: number, value: number): void {
    this.u32[offset >> 2] = value;
  }
  get64(offset: number): bigint {
    return this.u64[offset >> 3]!;
  }
  set64(offset: number, value: bigint): void {
    this.u64[offset >> 3] = value;
  }
  /** A 64-bit counter as a number (exact below 2^53). */
  count(offset: number): number {
    return this.u32[offset >> 2]! + this.u32[(offset >> 2) + 1]! * 0x1_0000_0000;
  }
}
