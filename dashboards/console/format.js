/** Numbers and times as a person reads them. Pure functions of their arguments. */

/** 93.24 % */
export function percent(fraction) {
  return fraction === undefined ? '–' : `${(fraction * 100).toFixed(fraction > 0.9995 && fraction < 1 ? 3 : 2)} %`
}

/** The one figure that says most of what was measured: accuracy of classes, R² of values. */
export function reached(evaluation) {
  if (evaluation?.accuracy !== undefined || evaluation?.r2 === undefined) return percent(evaluation?.accuracy)
  return `R² ${evaluation.r2.toFixed(4)}`
}

/** Three significant digits, never an exponent for what people meet: 2.31, 0.0421. */
export function loss(value) {
  if (value === undefined || !Number.isFinite(value)) return '–'
  return value >= 100 ? value.toFixed(0) : value.toPrecision(3)
}

/** 12,480 */
export function count(value) {
  return Math.round(value).toLocaleString('en')
}

/** 5.2 MB */
export function bytes(value) {
  const units = ['bytes', 'kB', 'MB', 'GB', 'TB']
  const power = value < 1000 ? 0 : Math.min(units.length - 1, Math.floor(Math.log10(value) / 3))
  return power === 0 ? `${value} bytes` : `${(value / 1000 ** power).toFixed(1)} ${units[power]}`
}

/** 48 s, 3 min 20 s, 2 h 5 min, 3 d 4 h */
export function duration(ms) {
  const seconds = Math.max(0, Math.round(ms / 1000))
  if (seconds < 60) return `${seconds} s`
  const minutes = Math.floor(seconds / 60)
  if (minutes < 60) return joined(minutes, 'min', seconds % 60, 's')
  const hours = Math.floor(minutes / 60)
  if (hours < 24) return joined(hours, 'h', minutes % 60, 'min')
  return joined(Math.floor(hours / 24), 'd', hours % 24, 'h')
}

/** just now, 48 s ago, 3 min ago, 5 h ago, 12 d ago */
export function ago(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000))
  if (seconds < 5) return 'just now'
  if (seconds < 60) return `${seconds} s ago`
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`
  if (seconds < 172_800) return `${Math.floor(seconds / 3600)} h ago`
  return `${Math.floor(seconds / 86_400)} d ago`
}

function joined(large, largeUnit, small, smallUnit) {
  return small === 0 ? `${large} ${largeUnit}` : `${large} ${largeUnit} ${small} ${smallUnit}`
}
