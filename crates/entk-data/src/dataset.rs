//! [`Dataset`]: images with labels, and subsets of them; [`Split`]: a training and a test part.
//!
//! [`load`](crate::load) returns a split; its tensors and binary labels go to Grams and training.

use crate::{
    error::{DataError, Result},
    images::Images,
    standardizer::Standardizer,
    stratify,
};

/// Images of shape (N, C, H, W), one label in `0..classes` for each, and a name.
///
/// ```
/// use entk_data::{Dataset, Images};
///
/// let images = Images::from_vec(vec![0.0; 4], (4, 1, 1, 1))?;
/// let data = Dataset::new("toy", images, vec![0, 4, 5, 9], 10)?;
/// assert_eq!(data.binary_labels(), [1, 1, 0, 0]);
/// assert_eq!(data.class_counts()[4], 1);
/// # Ok::<(), entk_data::DataError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Dataset {
    name: String,
    images: Images,
    labels: Vec<u8>,
    classes: usize,
}

impl Dataset {
    /// Puts images and labels together.
    ///
    /// # Errors
    /// [`DataError::CountMismatch`] if there is not one label for each image,
    /// [`DataError::Classes`] unless `classes` is 2 to 256, [`DataError::Label`] at the first
    /// label that is not below `classes`.
    pub fn new(
        name: impl Into<String>,
        images: Images,
        labels: Vec<u8>,
        classes: usize,
    ) -> Result<Self> {
        let name = name.into();
        check_labels(&labels, classes, &name)?;
        if images.count() != labels.len() {
            return Err(DataError::CountMismatch {
                images: images.count(),
                labels: labels.len(),
                images_from: name.clone(),
                labels_from: name,
            });
        }
        Ok(Self { name, images, labels, classes })
    }

    /// What the data set is called in messages and records.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The images, shape (N, C, H, W).
    #[must_use]
    pub fn images(&self) -> &Images {
        &self.images
    }

    /// The labels, N of them, each below [`Dataset::classes`].
    #[must_use]
    pub fn labels(&self) -> &[u8] {
        &self.labels
    }

    /// Number of classes. A class may have no examples.
    #[must_use]
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Number of examples, N.
    #[must_use]
    pub fn count(&self) -> usize {
        self.labels.len()
    }

    /// Number of examples of each class.
    #[must_use]
    pub fn class_counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.classes];
        for &label in &self.labels {
            counts[usize::from(label)] += 1;
        }
        counts
    }

    /// The binary task: 1 for the first half of the classes, else 0. With ten classes, 0-4 become 1
    /// (CIFAR2).
    ///
    /// With two classes the labels are binary already and are returned as they are. The signs +1
    /// and -1 of formulas are those of `BinaryTarget::from_labels` in entk-spectral.
    #[must_use]
    pub fn binary_labels(&self) -> Vec<u8> {
        if self.classes == 2 {
            return self.labels.clone();
        }
        self.labels.iter().map(|&label| u8::from(usize::from(label) < self.classes / 2)).collect()
    }

    /// These labels with other images, such as standardised ones.
    ///
    /// # Errors
    /// [`DataError::CountMismatch`] if the number of images differs.
    pub fn with_images(&self, images: Images) -> Result<Self> {
        Self::new(self.name.clone(), images, self.labels.clone(), self.classes)
    }

    /// The examples at these indices, in this order; an index may repeat.
    ///
    /// # Errors
    /// [`DataError::Empty`] without indices, [`DataError::Index`] if one is not below N.
    pub fn select(&self, indices: &[usize]) -> Result<Self> {
        let images = self.images.select(indices)?;
        let labels = indices.iter().map(|&index| self.labels[index]).collect();
        Ok(Self { name: self.name.clone(), images, labels, classes: self.classes })
    }

    /// These examples followed by `other`'s.
    ///
    /// # Errors
    /// [`DataError::Shape`] if the shapes of one image or the numbers of classes differ.
    pub fn concat(&self, other: &Self) -> Result<Self> {
        if self.classes != other.classes {
            return Err(DataError::Shape {
                what: format!("classes of {}", other.name),
                expected: format!("{} classes as in {}", self.classes, self.name),
                found: vec![other.classes],
            });
        }
        let images = self.images.concat(&other.images)?;
        let labels = [self.labels.as_slice(), &other.labels].concat();
        let name = format!("{} + {}", self.name, other.name);
        Ok(Self { name, images, labels, classes: self.classes })
    }

    /// Indices, ascending, of a random subset of `n` examples in which every class has its share.
    ///
    /// Class c with N_c of N examples gets n N_c / N, rounded down; what is left goes, one each, to
    /// the classes with the largest remainders, lower class first among equals. Within a class
    /// the members are drawn without replacement. The same data, `n` and `seed` give the same
    /// indices on every machine. With equal class sizes the subsets of one seed are nested: a
    /// smaller one is contained in a larger one.
    ///
    /// # Errors
    /// [`DataError::Subset`] if `n` is 0 or larger than N.
    pub fn stratified_indices(&self, n: usize, seed: u64) -> Result<Vec<usize>> {
        if n == 0 || n > self.count() {
            return Err(DataError::Subset {
                name: self.name.clone(),
                requested: n,
                available: self.count(),
            });
        }
        Ok(stratify::indices(&self.labels, self.classes, n, seed))
    }

    /// The examples at [`Dataset::stratified_indices`], in the order of this data set.
    ///
    /// Standardise before taking subsets: a subset keeps the normalisation of the full training
    /// set.
    ///
    /// # Errors
    /// [`DataError::Subset`] if `n` is 0 or larger than N.
    ///
    /// ```
    /// let train = entk_data::embedded()?.train;
    /// let subset = train.stratified_subset(105, 7)?;
    /// assert_eq!(subset.class_counts(), [11, 11, 11, 11, 11, 10, 10, 10, 10, 10]);
    /// # Ok::<(), entk_data::DataError>(())
    /// ```
    pub fn stratified_subset(&self, n: usize, seed: u64) -> Result<Self> {
        self.select(&self.stratified_indices(n, seed)?)
    }
}

/// A training and a test part of one data set.
#[derive(Debug, Clone)]
pub struct Split {
    /// For training, and the only part that normalisation is computed from.
    pub train: Dataset,
    /// For testing.
    pub test: Dataset,
}

impl Split {
    /// Both parts with the per-channel mean and standard deviation of the training part.
    ///
    /// # Errors
    /// [`DataError::ConstantChannel`] if a channel of the training part does not vary,
    /// [`DataError::Shape`] if the test part has another number of channels.
    ///
    /// ```
    /// let (split, standardizer) = entk_data::embedded()?.standardized()?;
    /// assert_eq!(standardizer.mean().len(), split.test.images().channels());
    /// # Ok::<(), entk_data::DataError>(())
    /// ```
    pub fn standardized(&self) -> Result<(Self, Standardizer)> {
        let standardizer = Standardizer::fit(self.train.images()).map_err(|e| self.named(e))?;
        let train = self.train.with_images(standardizer.apply(self.train.images())?)?;
        let test = self.test.with_images(standardizer.apply(self.test.images())?)?;
        Ok((Self { train, test }, standardizer))
    }

    /// An error of the images, which have no name, with that of the data set.
    fn named(&self, error: DataError) -> DataError {
        match error {
            DataError::ConstantChannel { channel, mean, std, .. } => {
                let data = self.train.name().to_owned();
                DataError::ConstantChannel { data, channel, mean, std }
            }
            other => other,
        }
    }

    /// All examples, the training part first, for Gram matrices over both parts.
    ///
    /// # Errors
    /// [`DataError::Shape`] if the two parts differ in the shape of one image or in the number of
    /// classes.
    pub fn all(&self) -> Result<Dataset> {
        self.train.concat(&self.test)
    }
}

/// Checks that `classes` is 2 to 256 and every label below it.
pub(crate) fn check_labels(labels: &[u8], classes: usize, file: &str) -> Result<()> {
    if !(2..=256).contains(&classes) {
        return Err(DataError::Classes { name: file.to_owned(), found: classes });
    }
    match labels.iter().position(|&label| usize::from(label) >= classes) {
        None => Ok(()),
        Some(index) => {
            Err(DataError::Label { file: file.to_owned(), index, classes, found: labels[index] })
        }
    }
}
