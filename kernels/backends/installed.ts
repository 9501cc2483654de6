/**
 * What `tensorfleet backends install` leaves behind: a folder per back end, and in it `installed.json`, written last.
 * A folder without that file is no installation.
 */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { KernelError } from '../errors.ts'

export const INSTALLABLE = ['tensorflow', 'tensorflow-gpu'] as const
export type InstallableName = (typeof INSTALLABLE)[number]

export const INSTALLED_FILE = 'installed.json'

/** Paths are relative to the folder, so that it can be moved. */
export interface Installation {
  packageName: string
  packageVersion: string
  /** Where the add-on and its library come from: `download` of the package itself, or what it was built against. */
  origin: string
  /** Of libtensorflow. */
  libraryVersion: string
  addon: string
  packageJson: string
}

/** The installation with its paths made whole; throws where there is none. */
export async function installedBackend(name: InstallableName, backendsDir: string | undefined): Promise<Installation> {
  const how = `install it with "tensorfleet backends install ${name}"`
  if (backendsDir === undefined) throw new KernelError('backend.unavailable', `${name} is not installed: ${how}`)
  const folder = join(backendsDir, name)
  try {
    const found = JSON.parse(await readFile(join(folder, INSTALLED_FILE), 'utf8')) as Installation // written by install.ts
    return { ...found, addon: join(folder, found.addon), packageJson: join(folder, found.packageJson) }
  } catch (error) {
    throw new KernelError('backend.unavailable', `${name} is not installed in ${backendsDir}: ${how}`, {}, error)
  }
}
