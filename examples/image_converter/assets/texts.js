/**
 * Everything that the scripts write on the page, in the page's language, with its plurals and numbers.
 *
 * A text is a string or a function. Every language has the same ones; to add a language, add one here and
 * a catalogue below `locale/`, which has the texts of the page itself and of the API server.
 */

export const languages = {
  en: {
    live: "Live",
    liveInTabs: (tabs) => `Live in ${plural(tabs, { one: "# tab", other: "# tabs" })}`,
    connecting: "Connecting…",
    offline: "Offline",
    reconnecting: "Reconnecting…",
    nextTry: (seconds) => `retry in ${number(seconds)} s`,
    disconnected: (reason) => (reason ? `Disconnected: ${reason}` : "Disconnected"),
    converters: (workers, images) =>
      `${plural(workers, { one: "# converter", other: "# converters" })} online, ` +
      `${plural(images, { one: "# image", other: "# images" })} at a time.`,

    allowCookies: "Please allow cookies for this site, then reload the page.",
    cannotLoad: "Your images can’t be loaded right now. Trying again…",
    failed: (message) => `${message} Please try again.`,
    cannotReach: "The server can’t be reached.",
    serverError: (status) => `The server reported an error (${status}).`,
    added: (name) => `${name} added`,
    addedMany: (images) => `${plural(images, { one: "# image", other: "# images" })} added`,
    pasted: (time) => `pasted ${time}.png`,
    lossless: "lossless",

    inProgress: (images) => `${number(images)} in progress`,
    ready: (images) => `${number(images)} ready`,
    saved: (size) => `${size} saved`,

    waitingToUpload: "Waiting to upload",
    uploading: (percent) => `Uploading · ${percent}`,
    storing: "Finishing the upload…",
    tooLarge: (megabytes) => `This file is too large. The limit is ${number(megabytes)} MB.`,
    unreadable: "This file can’t be read. It may be a folder, or it was moved or changed.",
    interrupted: "The upload was interrupted. It will resume when you are back online.",

    queued: "Waiting in line",
    noConverter: "Waiting for the converter to come online",
    setback: { lost: "Interrupted. It will start again soon", released: "Paused. Another converter will take over" },
    starting: "Starting",
    reading: (size, percent) => `Reading ${size} · ${percent}`,
    resizing: (pixels) => `Resizing to ${number(pixels)} pixels`,
    preparing: "Preparing",
    saving: (format) => `Saving as ${format}`,
    soFar: (size) => `${size} so far`,
    noUpdate: (seconds) => `no update for ${number(seconds)} s`,
    noConnection: "waiting for connection",
    cancelled: "Cancelled",
    smaller: (percent) => `${percent} smaller`,
    larger: (percent) => `${percent} larger`,
    sameSize: "same size",
    by: (worker) => `by ${worker}`,

    saidDone: (name, format, change) => `${name}: ${format} is ready, ${change}`,
    saidCancelled: (name) => `${name}: cancelled`,
    download: (name, format) => `Download ${name} as ${format}`,
    again: (name) => `Try ${name} again`,
    cancel: (name) => `Cancel ${name}`,
    remove: (name) => `Remove ${name}`,
    progress: (name) => `Progress of ${name}`,
  },

  ko: {
    live: "실시간 연결됨",
    liveInTabs: (tabs) => `탭 ${number(tabs)}개에서 실시간 연결됨`,
    connecting: "연결 중…",
    offline: "오프라인",
    reconnecting: "다시 연결하는 중…",
    nextTry: (seconds) => `${number(seconds)}초 후 재시도`,
    disconnected: (reason) => (reason ? `연결 해제됨: ${reason}` : "연결 해제됨"),
    converters: (workers, images) =>
      `변환기 ${number(workers)}대가 온라인이며, 한 번에 이미지 ${number(images)}개를 변환합니다.`,

    allowCookies: "이 사이트의 쿠키를 허용한 뒤 페이지를 새로 고치십시오.",
    cannotLoad: "지금은 이미지 목록을 불러올 수 없습니다. 다시 시도하는 중…",
    failed: (message) => `${message} 다시 시도하십시오.`,
    cannotReach: "서버에 연결할 수 없습니다.",
    serverError: (status) => `서버에서 오류가 발생했습니다(${status}).`,
    added: (name) => `${name} 추가됨`,
    addedMany: (images) => `이미지 ${number(images)}개 추가됨`,
    pasted: (time) => `붙여넣은 이미지 ${time}.png`,
    lossless: "무손실",

    inProgress: (images) => `진행 중 ${number(images)}개`,
    ready: (images) => `완료 ${number(images)}개`,
    saved: (size) => `${size} 절약`,

    waitingToUpload: "업로드 대기 중",
    uploading: (percent) => `업로드 중 · ${percent}`,
    storing: "업로드 마무리 중…",
    tooLarge: (megabytes) => `파일이 너무 큽니다. 최대 ${number(megabytes)} MB까지 올릴 수 있습니다.`,
    unreadable: "파일을 읽을 수 없습니다. 폴더이거나, 이동 또는 변경된 파일일 수 있습니다.",
    interrupted: "업로드가 중단되었습니다. 다시 온라인이 되면 이어서 진행합니다.",

    queued: "순서를 기다리는 중",
    noConverter: "변환기가 온라인이 되기를 기다리는 중",
    setback: { lost: "중단되었습니다. 곧 다시 시작합니다", released: "일시 중지되었습니다. 다른 변환기가 이어받습니다" },
    starting: "시작하는 중",
    reading: (size, percent) => `${size} 읽는 중 · ${percent}`,
    resizing: (pixels) => `${number(pixels)}픽셀로 크기 조정 중`,
    preparing: "준비 중",
    saving: (format) => `${format} 형식으로 저장 중`,
    soFar: (size) => `현재 ${size}`,
    noUpdate: (seconds) => `${number(seconds)}초 동안 소식 없음`,
    noConnection: "연결을 기다리는 중",
    cancelled: "취소됨",
    smaller: (percent) => `${percent} 감소`,
    larger: (percent) => `${percent} 증가`,
    sameSize: "크기 동일",
    by: (worker) => `변환기: ${worker}`,

    saidDone: (name, format, change) => `${name}: ${format} 파일이 준비되었습니다, ${change}`,
    saidCancelled: (name) => `${name}: 취소됨`,
    download: (name, format) => `${name} 파일을 ${format} 형식으로 다운로드`,
    again: (name) => `${name} 다시 시도`,
    cancel: (name) => `${name} 취소`,
    remove: (name) => `${name} 삭제`,
    progress: (name) => `${name} 진행률`,
  },
};

const wanted = document.documentElement.lang;
const language = wanted in languages ? wanted : "en";
export const texts = languages[language];

const plurals = new Intl.PluralRules(language);
const numbers = new Intl.NumberFormat(language);
const percents = new Intl.NumberFormat(language, { style: "percent" });

/** "2,048" */
export function number(value) {
  return numbers.format(value);
}

/** "43%", of 43 */
export function percent(value) {
  return percents.format(value / 100);
}

const UNITS = ["byte", "kilobyte", "megabyte", "gigabyte"];

/** "5.3 MB" */
export function bytes(size) {
  const power = size < 1000 ? 0 : Math.min(3, Math.floor(Math.log10(size) / 3));
  const value = size / 1000 ** power;
  const digits = power && value < 9.95 ? 1 : 0;
  return new Intl.NumberFormat(language, {
    style: "unit", unit: UNITS[power], unitDisplay: power ? "short" : "long",
    minimumFractionDigits: digits, maximumFractionDigits: digits,
  }).format(value);
}

function plural(count, forms) {
  return (forms[plurals.select(count)] ?? forms.other).replace("#", number(count));
}
