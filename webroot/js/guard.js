/** The crash guard's findings in words that need no kernel knowledge. */

/** @typedef {import("./model.js").Guard} Guard */
/** @typedef {{ name: string, cost: string }} FeatureWords */

/** @type {Record<string, FeatureWords>} */
const FEATURES = {
  pid: {
    name: "PID namespaces",
    cost: "Containers then see the phone's processes, and systemd cannot run in them. Everything else works.",
  },
  ipc: { name: "IPC namespaces", cost: "Containers then share message queues with the phone." },
  uts: { name: "UTS namespaces", cost: "Containers then have the phone's host name." },
  cgroup: { name: "cgroup namespaces", cost: "Containers then see where they are in the phone's groups." },
  time: { name: "time namespaces", cost: "Containers then have the phone's uptime." },
  net: { name: "network namespaces", cost: "Containers then can use only the phone's own network." },
  mnt: { name: "mount namespaces", cost: "Without them nothing can run." },
};

/**
 * @param {string} feature as in /proc/self/ns
 * @returns {FeatureWords}
 */
export function featureWords(feature) {
  return FEATURES[feature] ?? { name: feature, cost: "" };
}

/**
 * @param {Guard} guard that holds containers back
 * @returns {{ title: string, short: string, what: string }} short: a line for the banner; what: the whole story
 */
export function plainWords({ safeMode, failedBoots, trip }) {
  const boots = failedBoots === 1 ? "once" : `${failedBoots} times in a row`;
  const during = trip ? stepWords(trip) : "";
  if (safeMode) {
    return {
      title: "Safe mode: no container is started",
      short: `The phone did not come up well ${boots}. See what to do.`,
      what: `The phone went down ${boots} before it had come up well${during ? `, the last time ${during}` : ""}.`,
    };
  }
  return {
    title: "The phone went down, containers wait for you",
    short: during ? `It happened ${during}. See what to do.` : "See what happened and what to do.",
    what: `The phone restarted by itself${during ? ` ${during}` : " while a container was started"}.`,
  };
}

/** @param {import("./model.js").Trip} trip */
function stepWords({ step, container, feature }) {
  if (feature) return `while ${featureWords(feature).name} were tried`;
  if (container) return `while the container ${container} was started`;
  return step === "namespace" ? "while namespaces were made" : `in the step "${step}"`;
}
