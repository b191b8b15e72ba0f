import { unsignedAddress } from '../cpu/linear-view.ts';
import { type Profile, type ProfileFrame, stacks } from './profile.ts';

/**
 * The profile in pprof's format (github.com/google/pprof, proto/profile.proto), gzipped: samples and instructions, with the task
 * as a label and the parts of the code as mappings.
 */
export async function pprofFile(profile: Profile): Promise<Uint8Array> {
  const [pprof, { gzipSync }] = await Promise.all([import('pprof-format'), import('fflate')]);
  const stringTable = new pprof.StringTable();
  const text = (value: string): number => stringTable.dedup(value);
  const mappings = new Map<string, InstanceType<typeof pprof.Mapping>>();
  const functions = new Map<string, InstanceType<typeof pprof.Function>>();
  const locations: InstanceType<typeof pprof.Location>[] = [];

  /** Number of the location that stands for a function. */
  const locationId = (frame: ProfileFrame): number => {
    const key = `${frame.part} ${frame.name}`;
    const known = functions.get(key);
    if (known !== undefined) return Number(known.id);
    let mapping = mappings.get(frame.part);
    if (mapping === undefined) {
      mapping = new pprof.Mapping({ id: mappings.size + 1, filename: text(`[${frame.part}]`), hasFunctions: true });
      mappings.set(frame.part, mapping);
    }
    const id = functions.size + 1;
    functions.set(key, new pprof.Function({ id, name: text(frame.name), systemName: text(frame.name) }));
    const line = [new pprof.Line({ functionId: id })];
    const address = unsignedAddress(frame.address);
    locations.push(new pprof.Location({ id, mappingId: mapping.id, address, line }));
    return id;
  };

  const sample = stacks(profile).map(({ frames, samples }) => {
    const [task, ...code] = frames;
    return new pprof.Sample({
      locationId: code.reverse().map(locationId),
      value: [samples, samples * profile.interval],
      label: [new pprof.Label({ key: text('task'), str: text(task?.name ?? '') })],
    });
  });
  const instructions = new pprof.ValueType({ type: text('instructions'), unit: text('count') });
  const file = new pprof.Profile({
    sampleType: [new pprof.ValueType({ type: text('samples'), unit: text('count') }), instructions],
    sample,
    mapping: [...mappings.values()],
    location: locations,
    function: [...functions.values()],
    stringTable,
    periodType: instructions,
    period: profile.interval,
    defaultSampleType: text('instructions'),
  });
  return gzipSync(file.encode());
}
