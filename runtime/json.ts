/** What survives a trip through a mailbox or a snapshot: plain JSON. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json | undefined }

/** Without the list of them that `Object.keys` makes: it is asked for every message. */
export function hasKeys(value: object): boolean {
  for (const _ in value) return true
  return false
}

export function without<T>(rows: Readonly<Record<string, T>> | undefined, key: string): Readonly<Record<string, T>> {
  const { [key]: _gone, ...rest } = rows ?? {}
  return rest
}
