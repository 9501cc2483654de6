/**
 * The models of this host's GPUs as NVIDIA's driver tells them by files, for a kernel process: it can start no tool. What
 * they have to tell beside that, `gpus.ts` asks for, outside.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/** A folder for each GPU, by its place on the bus. */
export const DRIVER_FOLDER = '/proc/driver/nvidia/gpus'

/** Of several alike one is told. */
export function driverModels(folder = DRIVER_FOLDER): string[] {
  try {
    const files = readdirSync(folder).map((gpu) => readFileSync(join(folder, gpu, 'information'), 'utf8'))
    return [...new Set(files.flatMap((text) => /^Model:\s*(.+?)\s*$/m.exec(text)?.[1] ?? []))].toSorted()
  } catch {
    return [] // no such driver, or not to be read: the back end itself says whether there is a GPU
  }
}
