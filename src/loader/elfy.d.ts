/** The part of npm `elfy` (which ships no types) that elf.ts uses. */
declare module 'elfy' {
  interface ProgramHeader {
    /** Name of p_type, undefined for a type elfy does not know. */
    readonly type: string | undefined;
    readonly offset: number;
    readonly vaddr: number;
    readonly paddr: number;
    readonly filesz: number;
    readonly memsz: number;
    readonly align: number;
  }
  export interface ElfHeader {
    readonly class: '32' | '64';
    readonly type: string | undefined;
    readonly machine: string | undefined;
    readonly entry: number;
    readonly body: { readonly programs: readonly ProgramHeader[] };
  }
  const elfy: { parse(buffer: Uint8Array): ElfHeader };
  export default elfy;
}
