/** How commands print: tables for people, JSON for programs; nothing else goes to stdout. */
import { styleText } from 'node:util'

/** Columns as wide as their longest cell; the last one is not padded. */
export function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = header.map((title, i) => Math.max(title.length, ...rows.map((row) => row[i]?.length ?? 0)))
  const line = (cells: readonly string[]): string =>
    cells.map((cell, i) => (i === cells.length - 1 ? cell : cell.padEnd(widths[i] ?? 0))).join('  ')
  return [styleText('dim', line(header)), ...rows.map(line)].join('\n')
}

export function print(text: string): void {
  process.stdout.write(`${text}\n`)
}

export function printJson(value: unknown): void {
  print(JSON.stringify(value, null, 2))
}

/** An event of something that is watched, as a line of JSON. */
export function printEvent(type: string, value: object): void {
  print(JSON.stringify({ type, ...value }))
}

/** For what is not the result: progress, warnings, errors. */
export function note(text: string): void {
  process.stderr.write(`${text}\n`)
}

export function percent(fraction: number | undefined): string {
  return fraction === undefined ? '–' : `${(fraction * 100).toFixed(2)} %`
}

export function fixed(value: number | undefined, digits = 4): string {
  return value === undefined ? '–' : value.toFixed(digits)
}

/** `3 s`, `2 min 05 s`, `1 h 12 min`. */
export function duration(ms: number): string {
  const s = Math.max(0, Math.round(ms / 1_000))
  if (s < 60) return `${s} s`
  if (s < 3_600) return `${Math.floor(s / 60)} min ${String(s % 60).padStart(2, '0')} s`
  return `${Math.floor(s / 3_600)} h ${Math.floor((s % 3_600) / 60)} min`
}

export function ago(at: number): string {
  return `${duration(Date.now() - at)} ago`
}

export function sizeOf(bytes: number): string {
  if (bytes < 1_000) return `${bytes} B`
  if (bytes < 1_000_000) return `${(bytes / 1_000).toFixed(1)} kB`
  return `${(bytes / 1_000_000).toFixed(1)} MB`
}
