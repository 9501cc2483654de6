/**
 * The GPUs of this host as NVIDIA's own tool tells them: names, memory, how busy they are. A host without the tool has
 * none to tell of; what computes on a GPU of another make says its name alone, by its back end.
 */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'

export interface GpuReading {
  name: string
  memoryBytes: number
  usedBytes: number
  /** Share of the last moments in which it computed, 0 to 1. */
  utilisation: number
}

const QUERY = 'name,memory.total,memory.used,utilization.gpu'
const READ_MS = 5_000
const MIB = 1024 * 1024

/** Undefined where there is no such tool, or no GPU that it knows. */
export async function readGpus(): Promise<GpuReading[] | undefined> {
  try {
    const args = [`--query-gpu=${QUERY}`, '--format=csv,noheader,nounits']
    const { stdout } = await promisify(execFile)('nvidia-smi', args, { timeout: READ_MS })
    const readings = parseGpus(stdout)
    return readings.length > 0 ? readings : undefined
  } catch {
    return undefined // no tool, no driver, no GPU: nothing to show
  }
}

/** A line for each GPU; a figure that the tool does not know ("[N/A]") counts as none. */
export function parseGpus(text: string): GpuReading[] {
  return text.split('\n').flatMap((line) => {
    const fields = line.split(',').map((field) => field.trim())
    if (fields.length < 4) return []
    const number = (field: string | undefined): number => (Number.isFinite(Number(field)) ? Number(field) : 0)
    // A name may hold a comma; the figures stand at the end.
    const [total, used, busy] = fields.slice(-3)
    return [
      {
        name: fields.slice(0, -3).join(', '),
        memoryBytes: number(total) * MIB,
        usedBytes: number(used) * MIB,
        utilisation: number(busy) / 100,
      },
    ]
  })
}
